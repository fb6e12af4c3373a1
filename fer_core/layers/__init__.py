"""Modules that methods put into, before or behind CLIP's towers; each is usable by any method."""
