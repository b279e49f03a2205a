//! The columnar image of a cluster, with a change feed.
