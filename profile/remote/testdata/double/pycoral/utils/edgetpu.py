# There is nothing in it that a measurer needs.
