"""The pages that browsers show: made on the server, and fresh at each request."""
