"""How bytes are cut and squeezed: pure functions, which know of no store and open no file."""
