"""Images in and out without a registry's clients: lists, preloading, archives, lock files.

images     an image as people name it, and its name here
lists      which images a file names; charts asks helm
lock       what a site has: one image a line, with digest, platforms and size
plan       what an image consists of, for some platforms: platforms
preload    brings many, here (this node's storage, by the proxy) or there (another server)
"""
