"""Writes images into files that other tools read.

contents    what an image has here, and what is attached to it
packing     what of that goes into a bundle, and what another site has already
save        that as a tar; parts in files of a limited size
"""
