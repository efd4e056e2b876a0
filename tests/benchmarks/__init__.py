"""`make bench`: what the importer costs and how fast it is, each figure beside a ceiling or a floor of the same run."""
