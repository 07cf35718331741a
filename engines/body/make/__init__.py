"""How the free body is made; needs the extra ``body-tools`` and is run by hand, never by anything live."""
