"""Models that the catalogue does not have: from folders, images and a hub."""
