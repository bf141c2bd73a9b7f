"""Images in and out without a registry's clients: lists, preloading, archives, lock files.

images     an image as people name it, and its name here
lock       what a site has: one image a line, with digest, platforms and size
"""
