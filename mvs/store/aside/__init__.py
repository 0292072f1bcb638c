"""What was taken out of its place: on the way out for good, or kept for whoever can mend it."""
