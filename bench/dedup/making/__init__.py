"""What a family is made with: a network, a way to learn, and files as others write them."""
