"""Downloads the images of DataComp's metadata with img2dataset."""

from pipelines.download.run import download as download
