/* stream.c - lines of text in plain, xz or zstd files; see stream.h. */
#include <errno.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include "arena.h"
#include "stream.h"

enum { BLOCK = 256 * 1024 };
enum coding { PLAIN, XZ, ZST };

struct stream {
	FILE *file;
	const unsigned char *memory;
	size_t memory_n;
	bool writing, ended, source_ended;
	enum coding coding;
	lzma_stream xz;
	ZSTD_DStream *zd;
	ZSTD_CStream *zc;
	ZSTD_inBuffer zin;
	size_t zstd_hint;
	unsigned char in[BLOCK], out[BLOCK];
	size_t in_n, in_at;
	char *text;          /* decoded, not yet given out from text_at */
	size_t text_n, text_at, text_room;
	char error[160];
};

static struct stream *stream_new(void)
{
	struct stream *s = must_alloc(sizeof(*s));

	memset(s, 0, sizeof(*s));
	return s;
}

static size_t source_read(struct stream *s, unsigned char *to, size_t room)
{
	if (s->file)
		return fread(to, 1, room, s->file);
	if (room > s->memory_n)
		room = s->memory_n;
	memcpy(to, s->memory, room);
	s->memory += room;
	s->memory_n -= room;
	return room;
}

static struct stream *start_reading(struct stream *s)
{
	static const unsigned char xz_magic[] = { 0xfd, '7', 'z', 'X', 'Z', 0 }, zstd_magic[] = { 0x28, 0xb5, 0x2f, 0xfd };

	s->in_n = source_read(s, s->in, BLOCK);
	if (s->in_n >= sizeof(xz_magic) && !memcmp(s->in, xz_magic, sizeof(xz_magic))) {
		s->coding = XZ;
		if (lzma_stream_decoder(&s->xz, 512ull << 20, LZMA_CONCATENATED) != LZMA_OK)
			snprintf(s->error, sizeof(s->error), "xz: cannot start decoding");
	} else if (s->in_n >= sizeof(zstd_magic) && !memcmp(s->in, zstd_magic, sizeof(zstd_magic))) {
		s->coding = ZST;
		s->zd = ZSTD_createDStream();
	}
	return s;
}

struct stream *stream_read(const char *path, char *why, size_t room)
{
	struct stream *s;
	FILE *file = strcmp(path, "-") ? fopen(path, "re") : stdin;

	if (!file) {
		snprintf(why, room, "%s: %s", path, strerror(errno));
		return NULL;
	}
	s = stream_new();
	s->file = file;
	return start_reading(s);
}

struct stream *stream_read_memory(const void *bytes, size_t n)
{
	struct stream *s = stream_new();

	s->memory = bytes;
	s->memory_n = n;
	return start_reading(s);
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

struct stream *stream_write(const char *path, char *why, size_t room)
{
	struct stream *s;
	FILE *file = strcmp(path, "-") ? fopen(path, "we") : stdout;

	if (!file) {
		snprintf(why, room, "%s: %s", path, strerror(errno));
		return NULL;
	}
	s = stream_new();
	s->file = file;
	s->writing = true;
	if (ends_with(path, ".xz")) {
		s->coding = XZ;
		if (lzma_easy_encoder(&s->xz, 3, LZMA_CHECK_CRC64) != LZMA_OK)
			snprintf(s->error, sizeof(s->error), "xz: cannot start encoding");
	} else if (ends_with(path, ".zst")) {
		s->coding = ZST;
		s->zc = ZSTD_createCStream();
		ZSTD_initCStream(s->zc, 3);
	}
	return s;
}

const char *stream_error(const struct stream *s)
{
	return s->error;
}

static bool refill(struct stream *s)
{
	if (s->in_at == s->in_n && !s->source_ended) {
		s->in_at = 0;
		s->in_n = source_read(s, s->in, BLOCK);
		if (!s->in_n)
			s->source_ended = true;
		if (s->file && ferror(s->file))
			snprintf(s->error, sizeof(s->error), "cannot read: %s", strerror(errno));
	}
	return s->in_at < s->in_n;
}

static void append(struct stream *s, const unsigned char *bytes, size_t n)
{
	s->text = must_grow(s->text, &s->text_room, s->text_n + n + 1, 1);
	memcpy(s->text + s->text_n, bytes, n);
	s->text_n += n;
}

static void decode_xz(struct stream *s)
{
	bool more = refill(s);
	lzma_ret rc;

	s->xz.next_in = s->in + s->in_at;
	s->xz.avail_in = s->in_n - s->in_at;
	s->xz.next_out = s->out;
	s->xz.avail_out = BLOCK;
	rc = lzma_code(&s->xz, more ? LZMA_RUN : LZMA_FINISH);
	s->in_at = s->in_n - s->xz.avail_in;
	append(s, s->out, BLOCK - s->xz.avail_out);
	if (rc == LZMA_STREAM_END)
		s->ended = true;
	else if (rc != LZMA_OK)
		snprintf(s->error, sizeof(s->error), "xz: the data is %s", rc == LZMA_BUF_ERROR ? "truncated" : "damaged");
}

static void decode_zstd(struct stream *s)
{
	ZSTD_outBuffer out = { s->out, BLOCK, 0 };
	bool more = refill(s);
	ZSTD_inBuffer in = { s->in, s->in_n, s->in_at };
	size_t rc;

	rc = ZSTD_decompressStream(s->zd, &out, &in);
	s->in_at = in.pos;
	append(s, s->out, out.pos);
	if (ZSTD_isError(rc)) {
		snprintf(s->error, sizeof(s->error), "zstd: %s", ZSTD_getErrorName(rc));
	} else if (!more && !out.pos) {
		if (s->zstd_hint)
			snprintf(s->error, sizeof(s->error), "zstd: the data is truncated");
		s->ended = true;
	}
	if (more || out.pos)
		s->zstd_hint = rc;
}

static void decode(struct stream *s)
{
	switch (s->coding) {
	case XZ:
		decode_xz(s);
		return;
	case ZST:
		decode_zstd(s);
		return;
	case PLAIN:
		if (!refill(s)) {
			s->ended = true;
			return;
		}
		append(s, s->in + s->in_at, s->in_n - s->in_at);
		s->in_at = s->in_n;
	}
}

int stream_line(struct stream *s, char **line, size_t *bytes)
{
	size_t looked = 0;

	for (;;) {
		size_t have = s->text_n - s->text_at;
		char *newline = have > looked ? memchr(s->text + s->text_at + looked, '\n', have - looked) : NULL;

		if (*s->error)
			return -1;
		if (newline || (s->ended && have)) {
			*line = s->text + s->text_at;
			*bytes = newline ? (size_t)(newline - *line) : have;
			s->text_at += *bytes + !!newline;
			(*line)[*bytes] = 0;
			return 1;
		}
		if (s->ended)
			return 0;
		if (have > STREAM_LINE_MAX_BYTES) {
			snprintf(s->error, sizeof(s->error), "a line is longer than %d bytes", STREAM_LINE_MAX_BYTES);
			return -1;
		}
		looked = have;
		if (s->text_at) {
			memmove(s->text, s->text + s->text_at, have);
			s->text_n = have;
			s->text_at = 0;
		}
		decode(s);
	}
}

static int encode(struct stream *s, const char *text, size_t bytes, bool end)
{
	if (s->coding == PLAIN)
		return fwrite(text, 1, bytes, s->file) == bytes && (!end || !fflush(s->file)) ? 0 : -1;
	if (s->coding == XZ) {
		lzma_ret rc;

		s->xz.next_in = (const uint8_t *)text;
		s->xz.avail_in = bytes;
		do {
			s->xz.next_out = s->out;
			s->xz.avail_out = BLOCK;
			rc = lzma_code(&s->xz, end ? LZMA_FINISH : LZMA_RUN);
			if (fwrite(s->out, 1, BLOCK - s->xz.avail_out, s->file) != BLOCK - s->xz.avail_out)
				return -1;
		} while (rc == LZMA_OK && (s->xz.avail_in || end));
		return rc == LZMA_OK || rc == LZMA_STREAM_END ? 0 : -1;
	}
	for (ZSTD_inBuffer in = { text, bytes, 0 };;) {
		ZSTD_outBuffer out = { s->out, BLOCK, 0 };
		size_t rc = ZSTD_compressStream2(s->zc, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);

		if (ZSTD_isError(rc) || fwrite(s->out, 1, out.pos, s->file) != out.pos)
			return -1;
		if (in.pos == in.size && (!end || !rc))
			return 0;
	}
}

int stream_put(struct stream *s, const char *text, size_t bytes)
{
	if (*s->error)
		return -1;
	if (encode(s, text, bytes, false)) {
		snprintf(s->error, sizeof(s->error), "cannot write: %s", strerror(errno));
		return -1;
	}
	return 0;
}

int stream_close(struct stream *s)
{
	int rc = 0;

	if (!s)
		return 0;
	if (s->writing && (*s->error || encode(s, "", 0, true)))
		rc = -1;
	if (s->coding == XZ)
		lzma_end(&s->xz);
	ZSTD_freeDStream(s->zd);
	ZSTD_freeCStream(s->zc);
	if (s->file && s->file != stdin && s->file != stdout && fclose(s->file))
		rc = -1;
	free(s->text);
	free(s);
	return rc;
}
