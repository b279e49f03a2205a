//! What is written does not depend on how many threads write it.

use std::ops::ControlFlow;

use outrigger_state::Encoding;
use outrigger_state::image::StateImage;
use outrigger_state::render::RenderOptions;
use outrigger_state::resource::Resource;
use outrigger_state::selection::Selection;
use outrigger_state::shard::Shard;

/// Enough rows for several threads, and a last block that is not full.
const OBJECTS: usize = 9_037;

fn image() -> StateImage {
    let generator = Resource::find("configmaps").expect("configmaps").generator(&Selection::default());
    let image = StateImage::new(vec![("configmaps".to_owned(), generator)]);
    let table = image.table("configmaps").expect("its table");
    let mut samples = image.samples(table);
    image.begin_generation(table);
    for number in 0..OBJECTS {
        let object = serde_json::json!({"metadata": {
            "name": format!("map-{number}"), "namespace": format!("n{}", number % 7), "uid": format!("uid-{number}"),
            "creationTimestamp": "2026-01-02T03:04:05Z", "resourceVersion": number.to_string(),
        }});
        let object = object.to_string().into_bytes();
        image.upsert(table, Encoding::Json, &object, &mut samples).expect("readable");
    }
    image.commit_generation(table);
    image
}

fn text(image: &StateImage, options: &RenderOptions) -> String {
    let mut text = Vec::new();
    image.snapshot().render(options, |buffer| {
        assert!(!buffer.is_empty());
        text.append(buffer);
        ControlFlow::Continue(())
    });
    String::from_utf8(text).expect("text")
}

#[test]
fn several_threads_write_what_one_writes() {
    let image = image();
    for shard in [None, Some(Shard { index: 1, total: 2 })] {
        for open_metrics in [false, true] {
            let with = |threads| RenderOptions { shard, open_metrics, threads, ..RenderOptions::default() };
            let one = text(&image, &with(1));
            assert!(one.lines().count() > OBJECTS, "{shard:?}");
            for threads in [0, 2, 3, 4] {
                assert!(text(&image, &with(threads)) == one, "{threads} threads, {shard:?}");
            }
        }
    }
}

#[test]
fn a_reader_that_has_enough_ends_all_threads() {
    let image = image();
    let options = RenderOptions { threads: 3, ..RenderOptions::default() };
    for enough in 1..4 {
        let mut taken = 0;
        image.snapshot().render(&options, |_| {
            taken += 1;
            if taken == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(taken, enough);
    }
}
