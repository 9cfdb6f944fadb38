"""SafeKit's userconfig.xml and cluster.xml, in the dialect of SafeKit 8.2."""
