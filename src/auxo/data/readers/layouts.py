"""Sets that are divided already: by folders or files called train, val and test, by splits of the hub, by domains."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from auxo.data.columns import suggest_columns
from auxo.data.config import DataConfig
from auxo.data.names import normalise_name
from auxo.data.readers.divisions import DOES, Divided, Part, find_splits, holds_set
from auxo.data.readers.files import IMAGES, MASKS, list_entries
from auxo.data.readers.kept import LEAVE_OUT
from auxo.data.readers.kinds import list_images
from auxo.data.readers.listing import HUB_PREFIX, Listing, list_parquet
from auxo.errors import DataError
from auxo.files.moved import find_path
from auxo.registry.outside import is_outside

_MOST_DOMAINS = 20


@dataclass(frozen=True)
class Layout:
    """Which images of one's own do what.

    Args:
        train: fits the weights, and gives the parts that are missing.
        given: validation and test images that are there, by role.
        ood: images from elsewhere.
        notes: what was recognised, a sentence each.
    """

    train: Part
    given: Mapping[str, Part]
    ood: tuple[Part, ...]
    notes: tuple[str, ...] = ()


def find_layout(config: DataConfig, *, mask: str | None = None) -> Layout:
    """Return what the images of one's own are for, as ``config`` and the names below ``data.train`` say.

    A folder whose folders, Parquet files or CSVs are called train, val and test (or valid, validation, dev, training,
    testing) and a data set of the hub with such splits are divided so; a folder of domains, or a column of them, gives
    the training images of ``data.source-domains`` and one set from elsewhere for each other domain. What ``config``
    names itself comes first.

    Args:
        config: names training images.
        mask: the target that a mask beside every image gives; ``None`` where images have labels.

    Raises:
        DataError: names contradict each other, a domain must be chosen or is not there, or a set cannot be read.
    """
    assert config.train is not None
    spec = config.train
    further = [*config.columns, *([] if config.domain_column is None else [config.domain_column])]
    asked = replace(config, domain_column=None, columns=tuple(dict.fromkeys(further)))
    found = None if is_outside(spec) else find_splits(spec, asked, mask)
    own = {role: Part(place) for role in ("val", "test") if (place := getattr(config, role)) is not None}
    for place in (*(part.spec for part in own.values()), *config.ood):
        refuse_divided(place, config, mask=mask)
    ood = tuple(map(Part, config.ood))
    if config.domain_column is not None:
        layout = _divide_rows(spec, found, config, asked, mask)
    elif found is not None and not config.source_domains:
        layout = _use_splits(spec, found, own)
    else:
        layout = _divide_folders(spec, config, mask)
    return replace(layout, given={**layout.given, **own}, ood=(*ood, *layout.ood))


def refuse_divided(spec: str, config: DataConfig, *, mask: str | None) -> None:
    """Refuse a folder that is divided by its names where one set is asked for.

    Raises:
        DataError: it is, and one of its parts has to be named.
    """
    if is_outside(spec) or spec.startswith(HUB_PREFIX):
        return
    found = find_splits(spec, config, mask)
    if found is not None:
        fix = f"name one of its parts, such as {next(iter(reversed(found.parts.values()))).spec}"
        raise DataError("one set of images", f"{spec}, which is divided into {', '.join(found.names.values())}", fix)


def _use_splits(spec: str, found: Divided, own: Mapping[str, Part]) -> Layout:
    """Return the layout of a set that its names divide."""
    given = {role: part for role, part in found.parts.items() if role != "train" and role not in own}
    does = [f"{name} {DOES[role]}" for role, name in found.names.items() if role == "train" or role in given]
    unused = [*found.unused, *(name for role, name in found.names.items() if role in own)]
    sentence = f"by the names in {_shorten(spec)}: {', '.join(does)}"
    missing = {"val", "test"} - given.keys() - own.keys()
    sentence += f"; what is to {'validate' if 'val' in missing else 'test'} is cut off train" if missing else ""
    sentence += f"; {', '.join(unused)} {'is' if len(unused) == 1 else 'are'} not used" if unused else ""
    return Layout(found.parts["train"], given, (), (sentence,))


def _divide_folders(spec: str, config: DataConfig, mask: str | None) -> Layout:
    """Return the layout of a set that no names divide: a folder of domains, or all of it trains."""
    domains = _find_domains(spec, mask)
    if not config.source_domains:
        common = set.intersection(*domains.values()) if domains else set()
        if common:
            expected = f"the domain that trains, of the folders {_list_names(domains)} in {spec} with the same classes"
            fix = f"pass --data.source-domains {next(iter(domains))}, and the others are unseen sets"
            raise DataError(expected, "none", fix)
        return Layout(Part(spec), {}, ())
    if not domains:
        fix = "name the folder above them, or a column by --data.domain-column"
        raise DataError("folders of domains, DIR/DOMAIN/CLASS, with --data.source-domains", f"none in {spec}", fix)
    sources, others = _choose_domains(domains, config, where=spec)
    places = {name: os.path.join(spec, name) for name in domains}
    train = Part(places[sources[0]])
    if len(sources) > 1:
        train = Part(spec, list_images(spec, config, mask=mask, folders=sources))
    return Layout(train, {}, tuple(Part(places[name]) for name in others), _describe_domains(spec, sources, others))


def _find_domains(spec: str, mask: str | None) -> dict[str, set[str]]:
    """Return the classes in each of the folders of a folder, if all of them are sets."""
    path = find_path(spec)
    if is_outside(spec) or spec.startswith(HUB_PREFIX) or not os.path.isdir(path) or list_parquet(path):
        return {}
    folders = list_entries(path).folders
    is_pair = {folder.name for folder in folders} & {IMAGES, *MASKS}
    if len(folders) < 2 or (mask is not None and is_pair) or not all(holds_set(folder, mask) for folder in folders):
        return {}
    return {folder.name: {normalise_name(each.name) for each in list_entries(folder).folders} for folder in folders}


def _divide_rows(spec: str, found: Divided | None, config: DataConfig, asked: DataConfig, mask: str | None) -> Layout:
    """Return the layout of a set with a column of domains; splits that it has divide its training domains.

    Args:
        spec: the set.
        found: how names divide it.
        config: names the column.
        asked: reads the column, too.
        mask: see :func:`find_layout`.
    """
    whole = _list_whole(spec, found, asked, mask)
    column = str(config.domain_column)
    if None in whole.columns[column] and config.unknown != "ignore":
        got = f"none for {whole.encoded.describe(list(whole.columns[column]).index(None))}"
        fix = f"fill it in, remove the image, or {LEAVE_OUT}"
        raise DataError(f"a value of '{column}' for every image", got, fix)
    domains = sorted({str(value) for value in whole.columns[column] if value is not None})
    sources, others = _choose_domains(domains, config, where=f"the column '{column}' of {spec}")
    keeps = column in config.columns

    def take(listing: Listing, names: Collection[str], name: str) -> Part:
        return Part(spec, listing.select(column, names, name=name, keeps=keeps))

    parts = {} if found is None else {role: part.list_images(asked, mask=mask) for role, part in found.parts.items()}
    parts = {role: each for role, each in parts.items() if set(sources) & set(each.columns[column])}
    train = parts.pop("train", whole)
    name = "-".join([whole.name, *sources])
    given = {role: take(each, sources, f"{name}-{role}") for role, each in parts.items()}
    ood = tuple(take(whole, [domain], domain) for domain in others)
    notes = _describe_domains(spec, sources, others, given)
    return Layout(take(train, sources, name), given, ood, notes)


def _list_whole(spec: str, found: Divided | None, asked: DataConfig, mask: str | None) -> Listing:
    """Return all images of a set, those of its splits one after another."""
    if spec.startswith(HUB_PREFIX):
        place = spec if found is None else f"{spec}:{'+'.join(found.names.values())}"
        return list_images(place, asked, mask=mask)
    path = find_path(spec)
    folders = [path] if found is None else [path, *(path / name for name in found.names.values())]
    tables = [file for folder in folders if os.path.isdir(folder) for file in list_parquet(folder)]
    if tables or not (is_outside(spec) or os.path.isdir(path)):
        return list_images(spec, asked, mask=mask, files=tables)
    fix = "leave the option out; folders of domains need none"
    raise DataError("a Parquet file, a CSV or hf://owner/name with --data.domain-column", spec, fix)


class _Chosen(NamedTuple):
    """Which domains do what."""

    sources: tuple[str, ...]
    others: tuple[str, ...]


def _choose_domains(domains: Collection[str], config: DataConfig, *, where: str) -> _Chosen:
    """Return the domains that train and the others, or refuse domains that are not there."""
    sources = tuple(map(normalise_name, config.source_domains))
    if not sources:
        expected, fix = f"the domain that trains, of {_list_names(domains)} in {where}", "pass --data.source-domains"
        raise DataError(expected, "none", f"{fix} {min(domains)}, and the others are unseen sets")
    unknown = [name for name in sources if name not in domains]
    if unknown:
        near = suggest_columns(unknown, domains)
        raise DataError(f"a domain among {_list_names(domains)} in {where}", unknown[0], f"{near}name one of them")
    return _Chosen(sources, tuple(name for name in domains if name not in sources))


def _describe_domains(
    spec: str, sources: Sequence[str], others: Sequence[str], given: Collection[str] = ()
) -> tuple[str, ...]:
    """Return a sentence about what was recognised."""
    by_split = f" ({', '.join(sorted(given))} by its own splits)" if given else ""
    trains = f"{_list_names(sources)} {'trains' if len(sources) == 1 else 'train'}{by_split}"
    verb = "is" if len(others) == 1 else "are"
    unseen = f"{_list_names(others)} {verb} measured as unseen" if others else "no domain is left to be measured"
    return (f"by the domains in {_shorten(spec)}: {trains}; {unseen}",)


def _list_names(names: Collection[str]) -> str:
    """Return names with commas, of many the first."""
    shown = list(names)[:_MOST_DOMAINS]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _shorten(spec: str) -> str:
    """Return the name of a folder or file, or a whole address."""
    return spec if spec.startswith(HUB_PREFIX) else f"'{Path(spec).name}'"
