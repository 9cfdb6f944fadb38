"""The web console and API of a safekit cluster."""
