/* trace_test.c - the trace reader, writer and judge: samples agree, every kind of damage is told, nothing crashes.
 *
 * Needs no kernel: traces come from tests/data (argv[1], or the environment's SAMARA_TEST_DATA, or tests/data).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "../../tools/samara/judge.h"
#include "../../tools/samara/trace.h"

static const char *data_dir = "tests/data";
static const char *const samples[] = { "ls.xz", "gcc.xz", "musl.xz" };

enum { SAMPLES = sizeof(samples) / sizeof(*samples) };

struct text {
	char *bytes;
	size_t n, room;
};

struct outcome {
	int read;             /* what trace_next said last */
	int judged;           /* what judge_event said last */
	size_t line;
	struct judge_counts counts;
	char error[256];
};

static struct text load(const char *name)
{
	struct text text = { 0 };
	char path[512], why[256], *line;
	size_t bytes;
	struct stream *in;

	snprintf(path, sizeof(path), "%s/%s", data_dir, name);
	in = stream_read(path, why, sizeof(why));
	assert_non_null(in);
	while (stream_line(in, &line, &bytes) == 1) {
		text.bytes = must_grow(text.bytes, &text.room, text.n + bytes + 1, 1);
		memcpy(text.bytes + text.n, line, bytes);
		text.n += bytes;
		text.bytes[text.n++] = '\n';
	}
	assert_int_equal(stream_close(in), 0);
	return text;
}

static struct outcome judge_bytes(const void *bytes, size_t n)
{
	const struct judge_options options = { .keep_going = true, .track = true };
	struct trace_reader reader;
	struct event ev = { 0 };
	struct judge *judge = judge_create(&options, NULL);
	struct outcome out = { 0 };

	trace_open_memory(&reader, bytes, n);
	while ((out.read = trace_next(&reader, &ev)) == 1) {
		out.judged = judge_event(judge, &ev, "test");
		if (out.judged == JUDGE_MALFORMED)
			break;
	}
	out.line = reader.line;
	judge_counts(judge, &out.counts);
	snprintf(out.error, sizeof(out.error), "%s", out.judged == JUDGE_MALFORMED ? judge_error(judge) : reader.error);
	judge_destroy(judge);
	event_free(&ev);
	trace_close(&reader);
	return out;
}

static void samples_agree(void **state)
{
	(void)state;
	for (int i = 0; i < SAMPLES; i++) {
		struct text text = load(samples[i]);
		struct outcome out = judge_bytes(text.bytes, text.n);

		assert_int_equal(out.read, 0);
		assert_int_equal(out.counts.differences, 0);
		assert_int_equal(out.counts.unjudged, 0);
		assert_true(out.counts.calls > 30);
		free(text.bytes);
	}
}

/* One thing wrong in the kernel's answers must be seen. */
static void a_wrong_answer_is_a_difference(void **state)
{
	static const char *const edits[][2] = {
		{ "\"r\":\"7f3b2440b000\"", "\"r\":\"7f3b2440c000\"" },
		{ "\"n\":\"brk\",\"a\":[\"0\"],\"r\":\"1e938000\"", "\"n\":\"brk\",\"a\":[\"0\"],\"r\":\"1e939000\"" },
		{ "\"7f3b243f8000-7f3b243fc000 r--p 001cf000", "\"7f3b243f8000-7f3b243fc000 rw-p 001cf000" },
	};
	struct text text = load("gcc.xz");

	(void)state;
	for (size_t i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
		struct text copy = { .bytes = must_alloc(text.n + 1), .n = text.n };
		struct outcome out;
		char *at;

		memcpy(copy.bytes, text.bytes, text.n);
		copy.bytes[text.n] = 0;
		at = strstr(copy.bytes, edits[i][0]);
		assert_non_null(at);
		assert_int_equal(strlen(edits[i][0]), strlen(edits[i][1]));
		memcpy(at, edits[i][1], strlen(edits[i][1]));
		out = judge_bytes(copy.bytes, copy.n);
		assert_true(out.counts.differences > 0 || out.judged == JUDGE_MALFORMED);
		free(copy.bytes);
	}
	free(text.bytes);
}

static void truncation_is_told(void **state)
{
	struct text text = load("ls.xz");

	(void)state;
	for (size_t n = 0; n < text.n - 1; n += 1 + n / 64) {
		struct outcome out = judge_bytes(text.bytes, n);

		assert_int_equal(out.read, -1);
		assert_true(strlen(out.error) > 0);
	}
	free(text.bytes);
}

static void damage_never_crashes(void **state)
{
	struct text text = load("ls.xz");
	uint64_t seed = 88172645463325252ull;

	(void)state;
	for (int round = 0; round < 400; round++) {
		struct text copy = { .bytes = must_alloc(text.n), .n = text.n };

		memcpy(copy.bytes, text.bytes, text.n);
		for (int flips = 0; flips < 1 + round % 4; flips++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			copy.bytes[seed % copy.n] ^= (char)(1 << (seed >> 40) % 8);
		}
		judge_bytes(copy.bytes, copy.n);
		free(copy.bytes);
	}
	free(text.bytes);
}

static void reordered_lines_are_told(void **state)
{
	struct text text = load("gcc.xz"), copy = { 0 };
	char *line[2048];
	size_t n = 0;
	struct outcome out;

	(void)state;
	text.bytes = must_grow(text.bytes, &text.room, text.n + 1, 1);
	text.bytes[text.n] = 0;
	for (char *p = strtok(text.bytes, "\n"); p && n < 2048; p = strtok(NULL, "\n"))
		line[n++] = p;
	for (size_t i = 1; i + 1 < n; i += 2) {
		char *swap = line[i];

		line[i] = line[i + 1];
		line[i + 1] = swap;
	}
	for (size_t i = 0; i < n; i++) {
		size_t bytes = strlen(line[i]);

		copy.bytes = must_grow(copy.bytes, &copy.room, copy.n + bytes + 1, 1);
		memcpy(copy.bytes + copy.n, line[i], bytes);
		copy.n += bytes;
		copy.bytes[copy.n++] = '\n';
	}
	out = judge_bytes(copy.bytes, copy.n);
	assert_true(out.read == -1 || out.judged == JUDGE_MALFORMED || out.counts.differences || out.counts.unjudged);
	free(copy.bytes);
	free(text.bytes);
}

static void malformed_lines_are_told(void **state)
{
	static const char *const lines[] = {
		"", "{", "[]", "{}", "null", "{\"e\":1}", "{\"e\":\"c\"}", "{\"e\":\"hdr\",\"v\":1}",
		"{\"e\":\"c\",\"mm\":0,\"t\":1,\"n\":\"brk\",\"a\":[\"0\"],\"r\":\"0\"}",
		"{\"e\":\"c\",\"mm\":1,\"t\":1,\"n\":\"open\",\"a\":[],\"r\":\"0\"}",
		"{\"e\":\"c\",\"mm\":1,\"t\":1,\"n\":\"brk\",\"a\":[],\"r\":\"0\"}",
		"{\"e\":\"c\",\"mm\":1,\"t\":1,\"n\":\"brk\",\"a\":[\"10000000000000000\"],\"r\":\"0\"}",
		"{\"e\":\"c\",\"mm\":1,\"t\":1,\"n\":\"brk\",\"a\":[\"-1\"],\"r\":\"0\"}",
		"{\"e\":\"c\",\"mm\":1,\"t\":1,\"n\":\"brk\",\"a\":[\"0\"],\"r\":-99999}",
		"{\"e\":\"c\",\"mm\":1,\"t\":1,\"n\":\"brk\",\"a\":[\"0\"],\"r\":\"0\",\"-\":[\"2\",\"1\"]}",
		"{\"e\":\"c\",\"mm\":1,\"t\":1,\"n\":\"brk\",\"a\":[\"0\"],\"r\":\"0\",\"+\":[\"2000-1000 rw-p 00000000 00:00 0\"]}",
		"{\"e\":\"c\",\"mm\":1,\"t\":1,\"n\":\"brk\",\"a\":[\"0\"],\"r\":\"0\",\"+\":[\"1000-2000 rwzp 00000000 00:00 0\"]}",
		"{\"e\":\"exec\",\"mm\":1,\"t\":1}", "{\"e\":\"pf\",\"mm\":1,\"a\":[1]}", "{\"e\":\"snap\",\"mm\":1}",
		"{\"e\":\"exec\",\"mm\":1,\"t\":1,\"stat\":{},\"lim\":{},\"maps\":[]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		char text[1024];
		struct outcome out;

		snprintf(text, sizeof(text), "{\"e\":\"hdr\",\"v\":1,\"n\":250,\"kernel\":\"x\"}\n%s\n", lines[i]);
		out = judge_bytes(text, strlen(text));
		assert_int_equal(out.read, -1);
		assert_int_equal(out.line, 2);
		assert_non_null(strstr(out.error, ":2: "));
	}
}

/* Hostile values inside a well-formed call are just a call. */
static void hostile_calls_are_calls(void **state)
{
	static const char *const calls[] = {
		"\"n\":\"mmap\",\"a\":[\"ffffffffffffffff\",\"ffffffffffffffff\",\"ffffffffffffffff\","
		"\"ffffffffffffffff\",\"0\",\"0\"]",
		"\"n\":\"mmap\",\"a\":[\"0\",\"7ffffffff000\",\"0\",\"22\",\"0\",\"0\"]",
		"\"n\":\"munmap\",\"a\":[\"fffffffffffff000\",\"2000\"]",
		"\"n\":\"mremap\",\"a\":[\"0\",\"0\",\"ffffffffffffffff\",\"7\",\"1\"]",
		"\"n\":\"mincore\",\"a\":[\"0\",\"ffffffffffffffff\",\"0\"]",
		"\"n\":\"mincore\",\"a\":[\"0\",\"7ffffffff000\",\"0\"]",
		"\"n\":\"brk\",\"a\":[\"ffffffffffffffff\"]",
		"\"n\":\"madvise\",\"a\":[\"0\",\"ffffffffffffffff\",\"ffffffff\"]",
		"\"n\":\"mbind\",\"a\":[\"0\",\"1000\",\"2\",\"1\",\"ffffffffffffffff\",\"0\"]",
		"\"n\":\"shmat\",\"a\":[\"0\",\"0\",\"0\"]",
		"\"n\":\"prctl\",\"a\":[\"53564d41\",\"0\",\"ffffffffffffffff\",\"ffffffffffffffff\",\"1\"]",
		"\"n\":\"ioctl\",\"a\":[\"3\",\"c020aa00\",\"0\"],\"uf\":[\"0\",\"ffffffffffffffff\",\"7\",\"0\"]",
	};
	struct text text = load("ls.xz");
	char *end = NULL;
	struct text copy;

	(void)state;
	text.bytes = must_grow(text.bytes, &text.room, text.n + 1, 1);
	text.bytes[text.n] = 0;
	for (char *p = text.bytes; (p = strstr(p, "{\"e\":\"snap\"")); p++)
		end = p;
	assert_non_null(end);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		size_t head = (size_t)(end - text.bytes);
		struct outcome out;

		copy = (struct text){ .bytes = must_alloc(text.n + 1024) };
		memcpy(copy.bytes, text.bytes, head);
		copy.n = head + (size_t)sprintf(copy.bytes + head, "{\"e\":\"c\",\"mm\":2,\"t\":1,%s,\"r\":-12}\n", calls[i]);
		memcpy(copy.bytes + copy.n, end, text.n - head);
		copy.n += text.n - head;
		out = judge_bytes(copy.bytes, copy.n);
		assert_int_equal(out.read, 0);
		assert_int_not_equal(out.judged, JUDGE_MALFORMED);
		free(copy.bytes);
	}
	free(text.bytes);
}

/* What the writer writes is what the reader read, in each coding. */
/* The file that a test writes; gone at the end, also when the test fails. */
static char written[64];

static void drop_file(void)
{
	if (written[0])
		remove(written);
}

static void round_trip(void **state)
{
	static const char *const endings[] = { "", ".xz", ".zst" };
	struct text text = load("musl.xz");

	(void)state;
	for (int i = 0; i < 3; i++) {
		char why[256];
		struct trace_reader reader;
		struct event ev = { 0 };
		struct stream *out;
		struct outcome first = judge_bytes(text.bytes, text.n);
		struct text again = { 0 };
		struct outcome second;
		char *line;
		size_t bytes;
		struct stream *in;

		snprintf(written, sizeof(written), "/tmp/samara-trace-test-%d%s", (int)getpid(), endings[i]);
		out = stream_write(written, why, sizeof(why));
		assert_non_null(out);
		trace_open_memory(&reader, text.bytes, text.n);
		while (trace_next(&reader, &ev) == 1)
			assert_int_equal(trace_write(out, &ev), 0);
		assert_string_equal(reader.error, "");
		trace_close(&reader);
		event_free(&ev);
		assert_int_equal(stream_close(out), 0);
		in = stream_read(written, why, sizeof(why));
		assert_non_null(in);
		while (stream_line(in, &line, &bytes) == 1) {
			again.bytes = must_grow(again.bytes, &again.room, again.n + bytes + 1, 1);
			memcpy(again.bytes + again.n, line, bytes);
			again.n += bytes;
			again.bytes[again.n++] = '\n';
		}
		assert_int_equal(stream_close(in), 0);
		second = judge_bytes(again.bytes, again.n);
		assert_int_equal(second.read, 0);
		assert_memory_equal(&first.counts, &second.counts, sizeof(first.counts));
		free(again.bytes);
		remove(written);
	}
	free(text.bytes);
}

static void names_that_are_not_utf8(void **state)
{
	struct event ev = { 0 };
	char why[256], *line;
	size_t bytes;
	struct stream *s;

	(void)state;
	snprintf(written, sizeof(written), "/tmp/samara-trace-test-%d", (int)getpid());
	event_reset(&ev, EV_CALL);
	ev.mm = 1;
	ev.call = CALL_execve;
	ev.path = "/tmp/a\xff\xc3(\"\\";
	s = stream_write(written, why, sizeof(why));
	assert_int_equal(trace_write(s, &ev), 0);
	assert_int_equal(stream_close(s), 0);
	s = stream_read(written, why, sizeof(why));
	assert_int_equal(stream_line(s, &line, &bytes), 1);
	assert_non_null(strstr(line, "/tmp/a\\\\377\\\\303(\\\"\\\\"));
	stream_close(s);
	event_free(&ev);
	remove(written);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_agree),
		cmocka_unit_test(a_wrong_answer_is_a_difference),
		cmocka_unit_test(truncation_is_told),
		cmocka_unit_test(damage_never_crashes),
		cmocka_unit_test(reordered_lines_are_told),
		cmocka_unit_test(malformed_lines_are_told),
		cmocka_unit_test(hostile_calls_are_calls),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(names_that_are_not_utf8),
	};
	int rc;

	if (getenv("SAMARA_TEST_DATA"))
		data_dir = getenv("SAMARA_TEST_DATA");
	if (argc > 1)
		data_dir = argv[1];
	atexit(drop_file);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	intern_free();
	return rc;
}
