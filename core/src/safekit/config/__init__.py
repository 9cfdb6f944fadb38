"""The operator's files: read, checked, compiled, kept. Only `compiler` and `schema` import plugins."""
