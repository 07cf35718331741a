"""The bus: topics, messages, codec, sockets and health."""
