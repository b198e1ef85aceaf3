/* A backup that a running writer makes, into a directory of this process. */
#ifndef LANEMAP_TOOLS_BACKUP_SOCKET_H
#define LANEMAP_TOOLS_BACKUP_SOCKET_H

/* destination  is empty, or is made. Return: 0, or a negative errno after saying what is wrong;
 * then nothing is left there. */
int lanemap_tool_backup_socket(const char *socket, const char *destination);

#endif
