"""Images in and out without a registry's clients.

images        an image as people name it, and its name here
lock          what a site has: one image a line, with digest, platforms and size
naming        where an archive's images go here, and what ours is called elsewhere
preloading    brings images of lists through the proxy, or through another server
loading       reads archives, layouts and another registry's directory
saving        writes bundles
"""
