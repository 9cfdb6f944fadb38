"""Messages and sockets: the only package that imports zmq."""
