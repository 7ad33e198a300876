// SPDX-License-Identifier: Apache-2.0
//
// Collects what TW_TEST registered and runs it through Check, one process a test.

#include "harness/test.h"

static struct tw_test *first_test;
static struct tw_test **last_link = &first_test;

void tw_test_register(struct tw_test *test) {
    *last_link = test;
    last_link = &test->next;
}

int main(int argc, char **argv) {
    const char *wanted = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    int passed = 0, failed = 0;
    for (struct tw_test *test = first_test; test; test = test->next) {
        if (!strstr(test->name, wanted))
            continue;
        TTest body = {.name = test->name, .fn = test->run, .file = test->file, .line = test->line};
        Suite *suite = suite_create(test->name);
        TCase *tcase = tcase_create(test->name);
        tcase_set_timeout(tcase, TW_TEST_TIMEOUT_S);
        tcase_add_test(tcase, &body);
        suite_add_tcase(suite, tcase);
        SRunner *runner = srunner_create(suite);
        srunner_run_all(runner, CK_SILENT);
        bool ok = srunner_ntests_failed(runner) == 0;
        printf("%s %s\n", ok ? "ok  " : "FAIL", test->name);
        if (!ok) {
            TestResult **failures = srunner_failures(runner);
            printf("     %s:%d: %s\n", tr_lfile(failures[0]), tr_lno(failures[0]), tr_msg(failures[0]));
            free(failures);
        }
        passed += ok;
        failed += !ok;
        srunner_free(runner);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
