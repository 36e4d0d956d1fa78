/* What the compiled modules and the Python files expect of each other, as a number. It is that of `INTERFACE` in
   choice.py, and is raised with every change of it: tests/native/test_choice.py says when. */

#ifndef TRIO_WS_INTERFACE_H
#define TRIO_WS_INTERFACE_H

#define TRIO_WS_INTERFACE 4

#endif
