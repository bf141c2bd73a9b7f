"""Brings images before they are needed.

lists      which images a file names; charts asks helm
plan       what an image consists of, for some platforms
preload    brings many: here (this node's storage, by the proxy) or there (another server)
"""
