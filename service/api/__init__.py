"""The dialects that Weir speaks: a thin file each over the same runtime."""
