"""What a node needs to pull through us, written, shown and undone; and what would stop it.

endpoints     URLs of servers of ours, and whether they answer
node          the files of a node, also of one whose root is a directory here
plan          what shall be written, and what only people can do
apply         writes a plan, keeps what was there, takes it back
runtimes      one file a container runtime: what it reads, where
doctor        what would stop a cold start, in plain words
"""
