"""Model runtimes: what runs inside model images, and the catalogue that plans it."""
