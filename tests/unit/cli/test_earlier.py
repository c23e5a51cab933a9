"""Results of commands that end at once are all kept."""

import threading

from auxo.cli.earlier import write_results


def test_write_results__earlier_ones__keep_their_order(tmp_path):
    path = tmp_path / "rows.jsonl"
    for text in ("a", "b", "c"):
        write_results(path, text)
    assert [(tmp_path / name).read_text() for name in ("rows-1.jsonl", "rows-2.jsonl", "rows.jsonl")] == ["a", "b", "c"]


def test_write_results__many_at_once__loses_none(tmp_path):
    path, count = tmp_path / "rows.jsonl", 24
    start = threading.Barrier(count)

    def write(number):
        start.wait()
        write_results(path, str(number))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(count)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(int(each.read_text()) for each in tmp_path.iterdir()) == list(range(count))
