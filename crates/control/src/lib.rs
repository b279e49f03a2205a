//! Discovery: from the mirror, files and HTTP to scrape targets.
