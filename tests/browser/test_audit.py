"""The page of an audit in a browser: every chart is drawn, nothing is wider than the window, names do no harm."""

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def test_page__every_chart__is_drawn_in_a_window_of_any_width(audited, draw_all):
    assert draw_all(audited) == audited.locator(".chart").count() >= 4
    assert audited.evaluate(OVERFLOW) <= 0


def test_page__saliency__a_row_for_every_value_with_images_that_load(audited):
    lists = audited.locator("ul.images")
    assert lists.count() == 3
    images = lists.locator("img")
    assert images.count() == 12
    assert images.evaluate_all("all => all.every((each) => each.complete && each.naturalWidth > 0)")


def test_page__tables__open_and_have_captions_of_their_own(audited):
    captions = audited.locator("caption").all_text_contents()
    assert len(set(captions)) == len(captions)
    details = audited.locator("details.more")
    for number in range(details.count()):
        details.nth(number).locator("summary").click()
        assert details.nth(number).locator("table").is_visible()
