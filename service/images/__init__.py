"""Images: decoded safely, compared with known ones, read and seen. Refuses to know policies and HTTP."""
