"""From the wire to columns: protocol, sockets, back-fill, recordings, the synthetic market and its server."""
