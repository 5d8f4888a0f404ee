"""Where nodes come from: the protocol, its registry and the provisioners."""
