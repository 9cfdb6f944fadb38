"""keepalived.conf: VRRP instances become mirrors, virtual servers become farms."""
