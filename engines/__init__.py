"""Floor 3, pixels → people: models, decoders and the stages of fusion. Engines return records and know no sockets."""
