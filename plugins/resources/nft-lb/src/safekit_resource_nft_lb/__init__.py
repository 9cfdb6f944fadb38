"""The `nft-lb` resource."""

from safekit_resource_nft_lb.config import NftLbConfig
from safekit_resource_nft_lb.resource import NftLbResource

__all__ = ["NftLbConfig", "NftLbResource"]
