"""What goes wrong with images, from their address to what is seen in them; more of the tree in `service.errors`.

Owns these errors. Refuses to carry an address: it is the caller's text.

    BadInput
    ├── UnsupportedImage               400  unsupported_image
    ├── ImageTooLarge                  413  image_too_large
    ├── TooManyImages                  413  too_many_images
    ├── UnknownBank                    404  unknown_bank
    ├── ImageUrlRefused                400  image_url_refused
    └── ImageNotFetched                400  image_not_fetched
    WeirError
    └── ImageFailed                    503  image_failed
"""

from __future__ import annotations

from service.errors import BadInput, WeirError


class ImageUrlRefused(BadInput):
    """An address that nothing is fetched from: its host is not allowed, or it leads to a private network."""

    code = "image_url_refused"


class ImageNotFetched(BadInput):
    """An image's address is allowed, but no image came from it in time.

    Not a 5xx: whoever owns the address could else make this service look broken, and a gateway that fails open pass.
    """

    code = "image_not_fetched"


class UnsupportedImage(BadInput):
    """Not a file of JPEG, PNG, WEBP or GIF, or one of a shape that no image has."""

    code = "unsupported_image"


class ImageTooLarge(BadInput):
    """An image is over the limit in bytes or in pixels."""

    status = 413
    code = "image_too_large"


class TooManyImages(BadInput):
    """A content is over the limit in images."""

    status = 413
    code = "too_many_images"


class UnknownBank(BadInput):
    """No bank of known images has that name."""

    status = 404
    code = "unknown_bank"


class ImageFailed(WeirError):
    """An image could not be looked at: what looks at images died of it, took too long or is not there."""

    status = 503
    code = "image_failed"
    retry_after_s = 5
