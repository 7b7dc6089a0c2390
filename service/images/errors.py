"""What goes wrong on the way from an image's address to its bytes.

Owns these errors: both are 400, image_url_refused and image_not_fetched. Refuses to carry an address: it is the
caller's text.
"""

from __future__ import annotations

from service.errors import BadInput


class ImageUrlRefused(BadInput):
    """An address that nothing is fetched from: its host is not allowed, or it leads to a private network."""

    code = "image_url_refused"


class ImageNotFetched(BadInput):
    """An image's address is allowed, but no image came from it in time.

    Not a 5xx: whoever owns the address could else make this service look broken, and a gateway that fails open pass.
    """

    code = "image_not_fetched"
