"""A replica set: one storage made of several, none of which is needed (docs/guide/replica.md).

storage    the six verbs              sight, opening, reading   a key, an entry, its bytes
roster     who the members are        track, writing            an entry on its way
member     one of them                listing                   keys, merged
lane       its threads                mending, hints, repair, tending   in the background
"""

from backends.replica.storage import ReplicaSet

__all__ = ["ReplicaSet"]
