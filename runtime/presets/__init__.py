"""The models a Workspace can name, and the plan of what serves them."""
