"""The words of the OCI specifications as values: digests, names, manifests, ranges, errors.

Everything here is pure: no I/O, no clock, no settings. What a parse function returned may be
trusted.
"""
