"""Downloads the images of DataComp metadata with img2dataset."""

from pipelines.download.run import download as download
