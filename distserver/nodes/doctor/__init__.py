"""What would stop a cold start of a node, in plain words. Read only: nothing is written or mended.

findings   a finding: how bad, what, why it matters, what mends it
facts      what the checks look at
table      all checks, and who runs them
server     the unit, our own image, the mode, TLS
storage    the storage, and room on the disks
clock      the time
pulling    where the runtimes pull from
images     the pause image, and a list of images that are needed
"""
