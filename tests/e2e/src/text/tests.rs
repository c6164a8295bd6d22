//! What each format allows, line by line.

use super::*;

/// `want`: what the complaint contains; empty: none.
#[track_caller]
fn check(format: Format, text: &str, want: &str) {
    match Scrape::parse(text, format) {
        Ok(_) => assert_eq!(want, "", "accepted: {text}"),
        Err(error) => assert!(!want.is_empty() && error.what.contains(want), "{error}"),
    }
}

#[track_caller]
fn classic(text: &str, want: &str) {
    check(Format::Classic, text, want);
}

#[track_caller]
fn open(text: &str, want: &str) {
    check(Format::OpenMetrics, text, want);
}

const G: &str = "# TYPE g gauge\n";

#[test]
fn samples_come_out_as_they_were_written() {
    let text = "# HELP j_total What\\nit \\\\ is.\n# TYPE j_total counter\nj_total{a=\"x\\\"\\\\\\n,}é\",b=\"\"} 1.50 7\n";
    let scrape = Scrape::parse(text, Format::Classic).expect("sound");
    let labels = BTreeMap::from([("a".into(), "x\"\\\n,}é".into()), ("b".into(), String::new())]);
    let want = Sample { name: "j_total".into(), labels, value: "1.50".into(), timestamp: Some("7".into()) };
    assert_eq!(scrape.samples, [want]);
    assert_eq!(scrape.helps["j_total"], "What\nit \\ is.");
    assert_eq!(scrape.types["j_total"], "counter");
}

#[test]
fn series_are_found_and_summed() {
    let text = "# TYPE j counter\nj{t=\"a\",k=\"x\"} 1.001\nj{t=\"a\",k=\"y\"} 2\nj{t=\"b\",k=\"x\"} 4\n";
    let scrape = Scrape::parse(text, Format::Classic).expect("sound");
    assert_eq!(scrape.millijoules("j", &[]), Some(7001));
    assert_eq!(scrape.millijoules("j", &[("t", "a")]), Some(3001));
    assert_eq!(scrape.millijoules("j", &[("t", "c")]), None);
    assert_eq!(scrape.value("j", &[("k", "x"), ("t", "b")]), Some("4"));
}

#[test]
fn a_line_has_one_form() {
    classic(&format!("{G}g 1\ng{{a=\"b\"}} -Inf\n\n# a remark\n"), "");
    classic(&format!("{G}g 1"), "last line");
    classic(&format!("{G}g\n"), "no value");
    classic(&format!("{G}g  1\n"), "no value");
    classic(&format!("{G}g 1 \n"), "no timestamp");
    classic(&format!("{G}g 1.5 1.5\n"), "no timestamp");
    classic(&format!("{G}g one\n"), "no value");
    classic(&format!("{G}g inf\n"), "no value");
    classic(&format!("{G}g{{a=\"b\"}}1\n"), "single space");
}

#[test]
fn labels_have_one_form() {
    classic(&format!("{G}g{{}} 1\n"), "");
    classic(&format!("{G}g{{a=\"a backslash: \\\\\"}} 1\n"), "");
    classic(&format!("{G}g{{a=\"b\",}} 1\n"), "without a value");
    classic(&format!("{G}g{{a=b}} 1\n"), "without a value");
    classic(&format!("{G}g{{a=\"b}} 1\n"), "without an end");
    classic(&format!("{G}g{{a=\"\\d\"}} 1\n"), "escape");
    classic(&format!("{G}g{{1a=\"b\"}} 1\n"), "no name of a label");
    classic(&format!("{G}g{{a=\"b\",a=\"c\"}} 1\n"), "twice");
    classic(&format!("{G}g{{a=\"b\";}} 1\n"), "neither a comma");
}

#[test]
fn a_metric_stands_in_one_piece_after_its_type() {
    classic("g 1\n", "does not belong");
    classic("# HELP g G.\ng 1\n", "does not belong");
    classic("# TYPE g gage\n", "no type");
    classic(&format!("{G}{G}g 1\n"), "second TYPE");
    classic(&format!("{G}g 1\n# HELP g G.\n"), "after a sample");
    classic("# HELP g G.\n# HELP g G.\n", "second HELP");
    classic(&format!("{G}g 1\n# TYPE h gauge\nh 1\n{G}"), "several places");
    classic(&format!("{G}g 1\n# TYPE h gauge\ng{{a=\"b\"}} 1\n"), "does not belong");
    classic(&format!("{G}g{{a=\"b\"}} 1\ng{{a=\"b\"}} 1\n"), "second sample");
    classic("# HELP g G.\n# TYPE h gauge\n", "no TYPE");
}

#[test]
fn counts_are_not_negative() {
    classic("# TYPE c counter\nc -1\n", "cannot be a count");
    classic("# TYPE c counter\nc NaN\n", "cannot be a count");
}

#[test]
fn histograms_add_up() {
    let text = |buckets: &str| format!("# TYPE h histogram\n{buckets}h_sum 2\nh_count 3\n");
    classic(&text("h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 3\n"), "");
    classic(&text("h_bucket{le=\"1\"} 4\nh_bucket{le=\"+Inf\"} 3\n"), "do not grow");
    classic(&text("h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n"), "with the count");
    classic(&text("h_bucket{le=\"1\"} 3\n"), "with the count");
    classic(&text("h_bucket 3\n"), "without le");
    classic(&text("h 3\n"), "does not belong");
}

#[test]
fn open_metrics_ends_and_has_no_remarks() {
    open(&format!("{G}g 1 1.5\n# EOF\n"), "");
    open(&format!("{G}g 1\n"), "EOF");
    open(&format!("{G}g 1\n# EOF\ng 1\n"), "EOF");
    open(&format!("{G}g 1\n\n# EOF\n"), "no value");
    open(&format!("{G}g 1\n# a remark\n# EOF\n"), "comment");
}

#[test]
fn open_metrics_names_fit_types_and_units() {
    open("# TYPE j_joules counter\n# UNIT j_joules joules\nj_joules_total 1\n# EOF\n", "");
    open("# TYPE j_joules_total counter\n# EOF\n", "without _total");
    open("# TYPE j counter\nj 1\n# EOF\n", "does not belong");
    open("# TYPE j gauge\n# UNIT j joules\nj 1\n# EOF\n", "unit");
    open("# TYPE b info\nb_info{v=\"1\"} 1\n# EOF\n", "");
    open("# TYPE b info\nb_info{v=\"1\"} 2\n# EOF\n", "info is 1");
    open("# TYPE g untyped\n# EOF\n", "no type");
}

#[test]
fn a_complaint_names_its_line() {
    let error = Scrape::parse(&format!("{G}g 1\nh 1\n"), Format::Classic).expect_err("h has no type");
    assert_eq!(error.line, 3);
}
