"""What is written: every byte that a store holds is made and read here.

Values and their encodings only; nothing in this package opens a file.
`docs/format.md` is the norm.
"""
