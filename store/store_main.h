/* The entries of the program: `kubus actor store …` and `kubus store backup|restore|check …`. */
#ifndef KUBUS_STORE_STORE_MAIN_H
#define KUBUS_STORE_STORE_MAIN_H

int kb_store_main(int argc, char **argv);
int kb_store_cli(int argc, char **argv);

#endif
