/* trace_fuzz.c - libFuzzer target: any bytes as a trace, through the reader and the judge.
 *
 * Nothing may crash, hang, leak or take unbounded memory; what the judge says does not matter.  Seeds: tests/data/
 * (decompressed ones find more).  clang -fsanitize=fuzzer,address,undefined; with -DTRACE_FUZZ_MAIN it reads the
 * files of its command line instead.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "../../tools/samara/judge.h"
#include "../../tools/samara/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct judge_options options = { .keep_going = true, .track = true };
	struct trace_reader reader;
	struct event ev = { 0 };
	struct judge *judge = judge_create(&options, NULL);

	trace_open_memory(&reader, data, size);
	while (trace_next(&reader, &ev) == 1)
		if (judge_event(judge, &ev, "fuzz") == JUDGE_MALFORMED)
			break;
	judge_destroy(judge);
	event_free(&ev);
	trace_close(&reader);
	intern_free();
	return 0;
}

#ifdef TRACE_FUZZ_MAIN
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		static uint8_t bytes[16 << 20];
		size_t n;

		if (!file) {
			perror(argv[i]);
			return 2;
		}
		n = fread(bytes, 1, sizeof(bytes), file);
		fclose(file);
		LLVMFuzzerTestOneInput(bytes, n);
	}
	return 0;
}
#endif
