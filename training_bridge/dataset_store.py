"""Datasets out of a workspace: made from what the warehouse holds now, or made again from a manifest."""

from __future__ import annotations

from streams.catalogue import read_catalogue
from training_bridge.dataset import Dataset, build_dataset, rebuild_dataset
from training_bridge.dataset_manifest import DatasetParameters, decode_dataset_manifest, encode_dataset_manifest
from training_bridge.warehouse_records import read_newest, read_ranges
from training_bridge.workspace import Workspace


def make_dataset(workspace: Workspace, parameters: DatasetParameters) -> Dataset:
    """Return the dataset that the warehouse holds now, its manifest stored. Raises FixRequest if it is too small."""
    parameters.check()
    records = read_newest(workspace.warehouse, parameters.max_events)
    dataset = build_dataset(records, list(read_catalogue(workspace.sql).values()), parameters)
    workspace.blobs.put(encode_dataset_manifest(dataset.manifest))
    return dataset


def load_dataset(workspace: Workspace, address: str) -> Dataset:
    """Return a dataset made before. Raises Corrupt if its records or titles are not what they were."""
    manifest = decode_dataset_manifest(workspace.blobs.get(address))
    records = read_ranges(workspace.warehouse, manifest.ranges)
    return rebuild_dataset(records, read_catalogue(workspace.sql), manifest)
