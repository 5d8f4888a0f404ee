"""From a Machine to a node and back, whichever provisioner serves it."""
